// Vercel's AI SDK 7 with @ai-sdk/otel.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import * as otel from "@ai-sdk/otel";
import { embed, generateText, registerTelemetry, streamText } from "ai";
import { call, PROMPT, write } from "./spans.mjs";

registerTelemetry(new otel.OpenTelemetry());
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL });
const anthropic = createAnthropic({ baseURL: `${process.env.ANTHROPIC_BASE_URL}/v1` });
const telemetry = { isEnabled: true, functionId: "answer" };
const asked = { prompt: PROMPT, telemetry };

await call("openai chat", () => generateText({ model: openai.chat("gpt-4o"), ...asked }));
await call("openai stream", async () => {
  const answer = streamText({ model: openai.chat("gpt-4o"), ...asked });
  for await (const _ of answer.textStream);
});
await call("openai embeddings", () =>
  embed({ model: openai.embeddingModel("text-embedding-3-small"), value: PROMPT, telemetry }),
);
await call("anthropic message", () =>
  generateText({ model: anthropic("claude-sonnet-4-5"), ...asked }),
);
write("@ai-sdk/otel", "ai", "@ai-sdk/openai", "@ai-sdk/anthropic");
