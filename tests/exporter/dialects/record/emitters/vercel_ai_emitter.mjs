// Vercel's AI SDK with its built-in telemetry (up to version 6).
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { embed, generateText, streamText } from "ai";
import { call, PROMPT, write } from "./spans.mjs";

const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL });
const anthropic = createAnthropic({ baseURL: `${process.env.ANTHROPIC_BASE_URL}/v1` });
const experimental_telemetry = {
  isEnabled: true,
  functionId: "answer",
  metadata: { userId: "user-1", sessionId: "session-1", plan: "gold" },
};
const asked = { prompt: PROMPT, experimental_telemetry };

await call("openai chat", () => generateText({ model: openai.chat("gpt-4o"), ...asked }));
await call("openai responses", () => generateText({ model: openai("gpt-4o"), ...asked }));
await call("openai stream", async () => {
  const answer = streamText({ model: openai.chat("gpt-4o"), ...asked });
  for await (const _ of answer.textStream);
});
await call("openai embeddings", () =>
  embed({
    model: openai.textEmbeddingModel("text-embedding-3-small"),
    value: PROMPT,
    experimental_telemetry,
  }),
);
await call("anthropic message", () =>
  generateText({ model: anthropic("claude-sonnet-4-5"), ...asked }),
);
await call("anthropic stream", async () => {
  const answer = streamText({ model: anthropic("claude-sonnet-4-5"), ...asked });
  for await (const _ of answer.textStream);
});
write("ai", "@ai-sdk/openai", "@ai-sdk/anthropic");
