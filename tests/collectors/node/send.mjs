// Calls generateText and streamText of Vercel's AI SDK with a mock model, and sends the spans by
// OTLP/HTTP to OTEL_EXPORTER_OTLP_ENDPOINT. Each call has 1,000 input tokens, 600 of them cached, and
// 200 output tokens.
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { generateText, simulateReadableStream, streamText } from "ai";
import { MockLanguageModelV3 } from "ai/test";

const sdk = new NodeSDK({
  serviceName: "node-sender",
  traceExporter: new OTLPTraceExporter(),
});
sdk.start();

const usage = {
  inputTokens: { total: 1000, noCache: 400, cacheRead: 600, cacheWrite: undefined },
  outputTokens: { total: 200, text: 150, reasoning: 50 },
};
const finish = { finishReason: { unified: "stop", raw: "stop" }, usage };
const model = (id) =>
  new MockLanguageModelV3({
    provider: "openai.chat",
    modelId: "gpt-4o",
    doGenerate: async () => ({
      content: [{ type: "text", text: "An answer." }],
      response: { id, modelId: "gpt-4o-2024-08-06", timestamp: new Date() },
      warnings: [],
      ...finish,
    }),
    doStream: async () => ({
      stream: simulateReadableStream({
        chunks: [
          { type: "stream-start", warnings: [] },
          { type: "response-metadata", id, modelId: "gpt-4o-2024-08-06", timestamp: new Date() },
          { type: "text-start", id: "1" },
          { type: "text-delta", id: "1", delta: "An answer." },
          { type: "text-end", id: "1" },
          { type: "finish", ...finish },
        ],
      }),
    }),
  });
const telemetry = {
  isEnabled: true,
  functionId: "answer",
  metadata: { userId: "ada" },
};

await generateText({
  model: model("chatcmpl-of-the-whole-answer"),
  prompt: "the secret of the canary",
  experimental_telemetry: telemetry,
});
const stream = streamText({
  model: model("chatcmpl-of-the-streamed-answer"),
  prompt: "the secret of the canary",
  experimental_telemetry: telemetry,
});
for await (const _ of stream.textStream);
await sdk.shutdown();
