// Loaded before the app: node --require ./telemetry.cjs app.cjs
const { BaggageSpanProcessor } = require("@opentelemetry/baggage-span-processor");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
const { OpenAIInstrumentation } = require("@opentelemetry/instrumentation-openai");
const { NodeSDK, tracing } = require("@opentelemetry/sdk-node");

const ATTRIBUTION = /^(user\.id|session\.id|tokenledger\..*)$/;

const sdk = new NodeSDK({
  instrumentations: [new OpenAIInstrumentation()],
  spanProcessors: [
    // Copies baggage to every span that starts, so that a model call says who it is for.
    new BaggageSpanProcessor((key) => ATTRIBUTION.test(key)),
    new tracing.BatchSpanProcessor(new OTLPTraceExporter()),
  ],
});
sdk.start();

// Sends the last spans.
process.on("beforeExit", () => sdk.shutdown());
