// A service that policies call: what it was asked, and how many calls at once; its answers are the play's.
import http from "node:http";
import { News } from "./play.mjs";

export class Service {
  news = new News();
  calls = [];
  open = 0;
  most = 0;

  static async start(stage) {
    const s = new Service();
    s.server = http.createServer((req, res) => {
      let body = "";
      req.on("data", (d) => (body += d));
      req.on("end", () => {
        s.open++;
        s.most = Math.max(s.most, s.open);
        res.on("close", () => { s.open--; s.news.tell(); });
        s.calls.push({ req, res, body });
        s.news.tell();
        s.auto?.(s.calls.at(-1));
      });
    });
    await new Promise((r) => s.server.listen(0, "127.0.0.1", r));
    stage.onEnd(() => { s.server.closeAllConnections(); s.server.close(); });
    s.url = `http://127.0.0.1:${s.server.address().port}`;
    return s;
  }

  call(n = 1) { return this.news.until(() => this.calls.length >= n && this.calls[n - 1], `call ${n} of the service`); }
}
