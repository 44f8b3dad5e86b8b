-- An answer in steps, as script/exchange.h numbers them: what a dialect says that a rare event means, and what a reply of blocks holds. A step is a list:
-- kind, choice, channel, text, name, id, index, five counts of tokens, and what a model wants back with a tool call.
return {
  TEXT = 1, TOOL = 2, FINISH = 3, USAGE = 4, MODEL = 5, ERROR = 6, DONE = 7, LOGPROBS = 8, SIGNATURE = 9,
  CHANNELS = { content = 0, reasoning = 1, refusal = 2 },
}
