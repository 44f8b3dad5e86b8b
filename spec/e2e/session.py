"""One Python SDK's session with the gateway; python.play.mjs directs it.

    session.py SDK all       every provider, errors, retries; prints a JSON line for each thing that held
    session.py SDK leave     asks for a stream and leaves after its first words

What it is to say and to expect comes as JSON in SESSION: base, keys, questions, words, thought, usage, tools, wait.
"""
import json
import os
import sys
import time

S = json.loads(os.environ["SESSION"])
WAITS = []
_sleep = time.sleep


def sleep(seconds):
    """Waits of exactly what Retry-After says are noted and skipped."""
    WAITS.append(seconds)
    if seconds != S["wait"]:
        _sleep(seconds)


time.sleep = sleep


def same(got, expected, what):
    if got != expected:
        raise AssertionError(f"{what}: {got!r}, expected {expected!r}")


def thrown(fn):
    try:
        value = fn()
    except Exception as e:  # whatever the SDK throws is what is looked at
        return e
    raise AssertionError(f"it must throw, and gave {value!r}")


class OpenAI:
    front, name, field = "openai", "openai (Python)", "messages[0].content"

    def __init__(self, route="", key=None, retries=0):
        import openai

        self.client = openai.OpenAI(base_url=f"{S['base']}{route}/v1", api_key=key or S["key"], max_retries=retries)

    def say(self, model, messages, stream=False, usage=True, told=None, tools=None):
        more = {"tools": tools} if tools else {}
        if not stream:
            r = self.client.chat.completions.create(model=model, messages=messages, **more)
            m, u = r.choices[0].message, r.usage
        else:
            if usage:
                more["stream_options"] = {"include_usage": True}
            with self.client.chat.completions.stream(model=model, messages=messages, **more) as events:
                thought, u = "", None
                for event in events:
                    if event.type != "chunk":
                        continue
                    u = event.chunk.usage or u
                    for choice in event.chunk.choices:
                        thought += getattr(choice.delta, "reasoning_content", None) or ""
                        if choice.delta.content and told:
                            told()
                m = events.get_final_completion().choices[0].message
                m.reasoning_content = thought
        return {
            "text": m.content, "reasoning": getattr(m, "reasoning_content", None), "message": m, "calls": m.tool_calls or [],
            "usage": u and {"input": u.prompt_tokens, "output": u.completion_tokens},
        }

    def ask(self, model, question, **how):
        return self.say(model, [{"role": "user", "content": question}], **how)

    def tools(self, model, question, stream):
        tools = [{"type": "function", "function": {"name": n, "description": t["about"], "parameters": t["schema"]}} for n, t in S["tools"].items()]
        messages = [{"role": "user", "content": question}]
        first = self.say(model, messages, stream=stream, tools=tools)
        calls = [{"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}} for c in first["calls"]]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": c["id"], "content": S["tools"][c["function"]["name"]]["says"]} for c in calls]
        return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls], self.say(model, messages, stream=stream, tools=tools)["text"]

    def bad(self):
        return self.say("openai", [{"role": "user", "content": 17}])

    @staticmethod
    def code(e):
        return e.code

    def more(self):
        same(sorted(m.id for m in self.client.models.list()), sorted(S["names"]), "the list of models")
        same(self.client.models.retrieve("gemini").id, "gemini", "one model")
        same(self.client.embeddings.create(model="openai", input=["one", "two"]).data[1].embedding, [0.5, -0.25, 1], "an embedding")


class Anthropic:
    front, name, field = "anthropic", "anthropic (Python)", "messages.0.content"

    def __init__(self, route="", key=None, retries=0):
        import anthropic

        self.client = anthropic.Anthropic(base_url=f"{S['base']}{route}", api_key=key or S["key"], max_retries=retries)

    def say(self, model, messages, stream=False, usage=True, told=None, tools=None):
        asked = {"model": model, "max_tokens": 500, "messages": messages, **({"tools": tools} if tools else {})}
        if not stream:
            m = self.client.messages.create(**asked)
        else:
            with self.client.messages.stream(**asked) as events:
                for _ in events.text_stream:
                    if told:
                        told()
                m = events.get_final_message()
        of = lambda kind, member: "".join(getattr(b, member) for b in m.content if b.type == kind)
        return {
            "text": of("text", "text"), "reasoning": of("thinking", "thinking"), "message": m, "calls": [b for b in m.content if b.type == "tool_use"],
            "usage": {"input": m.usage.input_tokens, "output": m.usage.output_tokens},
        }

    def ask(self, model, question, **how):
        return self.say(model, [{"role": "user", "content": question}], **how)

    def tools(self, model, question, stream):
        tools = [{"name": n, "description": t["about"], "input_schema": t["schema"]} for n, t in S["tools"].items()]
        messages = [{"role": "user", "content": question}]
        first = self.say(model, messages, stream=stream, tools=tools)
        messages.append({"role": "assistant", "content": first["message"].content})
        messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": c.id, "content": S["tools"][c.name]["says"]} for c in first["calls"]]})
        return [(c.name, c.input) for c in first["calls"]], self.say(model, messages, stream=stream, tools=tools)["text"]

    def bad(self):
        return self.say("openai", [{"role": "user", "content": 17}])

    @staticmethod
    def code(e):
        return e.body["error"]["details"]["error_code"] if isinstance(getattr(e, "body", None), dict) else None

    def more(self):
        pass


class LangChain:
    front, name, field = "openai", "langchain-openai (Python)", "tools"

    def __init__(self, route="", key=None, retries=0):
        self.how = {"base_url": f"{S['base']}{route}/v1", "api_key": key or S["key"], "max_retries": retries, "use_responses_api": False}

    def model(self, name, **more):
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=name, **self.how, **more)

    def say(self, model, messages, stream=False, told=None):
        if not stream:
            m = model.invoke(messages)
        else:
            m = None
            for chunk in model.stream(messages):
                m = chunk if m is None else m + chunk
                if chunk.content and told:
                    told()
        u = m.usage_metadata
        return {"text": m.content, "reasoning": None, "message": m, "calls": m.tool_calls, "usage": u and {"input": u["input_tokens"], "output": u["output_tokens"]}}

    def ask(self, model, question, stream=False, usage=True, told=None):
        return self.say(self.model(model, stream_usage=usage), [("user", question)], stream=stream, told=told)

    def tools(self, model, question, stream):
        from langchain_core.messages import HumanMessage, ToolMessage

        tools = [{"type": "function", "function": {"name": n, "description": t["about"], "parameters": t["schema"]}} for n, t in S["tools"].items()]
        bound = self.model(model).bind_tools(tools)
        messages = [HumanMessage(question)]
        first = self.say(bound, messages, stream=stream)
        messages.append(first["message"])
        messages += [ToolMessage(S["tools"][c["name"]]["says"], tool_call_id=c["id"]) for c in first["calls"]]
        return [(c["name"], c["args"]) for c in first["calls"]], self.say(bound, messages, stream=stream)["text"]

    def bad(self):
        return self.say(self.model("openai", extra_body={"tools": 17}), [("user", "x")])

    @staticmethod
    def code(e):
        return e.code

    def more(self):
        pass


def held(sdk, provider, *kinds):
    for kind in kinds:
        print(json.dumps({"front": sdk.front, "dialect": provider, "kind": kind, "sdk": sdk.name}), flush=True)


def answers(sdk, provider):
    c, q = sdk(), S["questions"]
    thinks = "ollama_thinks" if provider == "ollama" else provider
    for stream in (False, True):
        a = c.ask(provider, q["plain"], stream=stream)
        same(a["text"], S["words"], "the text")
        t = c.ask(thinks, q["think"], stream=stream)
        same((t["text"], t["usage"]), ("It is odd.", S["usage"]), "thoughts, counted")
        if sdk is not LangChain:                           # its ChatOpenAI keeps to what OpenAI itself sends
            same(t["reasoning"], S["thought"], "the thoughts")
            held(sdk, provider, "reasoning")
        if stream and sdk is not Anthropic:
            same(c.ask(provider, q["plain"], stream=True, usage=False)["usage"], None, "usage that nobody asked for")
        calls, text = c.tools(provider, q["tools"], stream)
        same(calls, [(name, tool["args"]) for name, tool in S["tools"].items()], "the calls")
        same(text, "21 degrees, half past ten.", "what the model made of them")
        held(sdk, provider, "stream" if stream else "plain", "usage", "tools")


def errors(sdk, provider):
    c, q = sdk(), S["questions"]
    for stream in (False, True):
        no = thrown(lambda: c.ask(provider, q["hot"], stream=stream))
        same((no.status_code, "temperature: too hot" in str(no)), (400, True), f"in the model's own words, {no}")
        broken = thrown(lambda: c.ask(provider, q["broken"], stream=stream))
        same((broken.status_code, c.code(broken)), (502, "upstream_status"), "a model that fails")
    thrown(lambda: c.ask(provider, q["cut"], stream=True))
    held(sdk, provider, "errors")


def refusals(sdk):
    c, plain = sdk(), S["questions"]["plain"]
    bad = thrown(c.bad)
    same((bad.status_code, sdk.field in str(bad)), (400, True), f"the field, {bad}")
    none = thrown(lambda: c.ask("no-such-model", plain))
    same((none.status_code, c.code(none)), (404, "model_not_found"), "an unknown model")
    wrong = thrown(lambda: sdk("/keyed", key="sk-client-wrong").ask("openai", plain))
    same((wrong.status_code, c.code(wrong)), (401, "key_unknown"), "a wrong key")
    same(sdk("/keyed").ask("openai", plain)["text"], S["words"], "with the right key")


def retries(sdk):
    c = sdk("", retries=2)
    same(c.ask("openai", S["questions"]["later"], stream=True)["text"], "Now.", "asked again")
    same(WAITS, [S["wait"]], "the waits")
    same(thrown(lambda: sdk("/refused", retries=2).ask("openai", "x")).status_code, 409, "what will be refused again")
    same(WAITS, [S["wait"]], "the waits, as before")


def main(sdk, what):
    if what == "leave":
        class Left(Exception):
            pass

        def leave():
            raise Left

        same(type(thrown(lambda: sdk().ask("play", S["questions"]["long"], stream=True, told=leave))), Left, "it left")
        return
    for provider in S["providers"]:
        answers(sdk, provider)
        errors(sdk, provider)
    refusals(sdk)
    retries(sdk)
    sdk().more()


main({"openai": OpenAI, "anthropic": Anthropic, "langchain": LangChain}[sys.argv[1]], sys.argv[2])
