// Collects the spans of each recorded call and writes them as one fixture; see spans.py.
import { writeFileSync, readFileSync } from "node:fs";
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

export const PROMPT = "canary-prompt: how many invoices are there?";
const exporter = new InMemorySpanExporter();
const calls = {};
const KINDS = ["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const STATUSES = ["UNSET", "OK", "ERROR"];
const nanoseconds = ([seconds, rest]) => seconds * 1e9 + rest;

export const provider = new NodeTracerProvider({
  spanProcessors: [new SimpleSpanProcessor(exporter)],
});
provider.register();

export async function call(label, run) {
  exporter.reset();
  try {
    await run();
  } catch (error) {
    console.error(label, error);
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  calls[label] = exporter.getFinishedSpans().map((span) => ({
    name: span.name,
    scope: span.instrumentationScope.name,
    scope_version: span.instrumentationScope.version ?? "",
    kind: KINDS[span.kind],
    trace_id: span.spanContext().traceId,
    span_id: span.spanContext().spanId,
    parent_span_id: span.parentSpanContext?.spanId ?? "",
    start_ns: nanoseconds(span.startTime),
    end_ns: nanoseconds(span.endTime),
    status: STATUSES[span.status.code],
    attributes: Object.fromEntries(
      Object.entries(span.attributes).filter(([, value]) => JSON.stringify(value).length < 6_000),
    ),
  }));
}

export function write(...packages) {
  const versions = {};
  for (const name of packages) {
    const path = new URL(`./node_modules/${name}/package.json`, import.meta.url);
    versions[name] = JSON.parse(readFileSync(path)).version;
  }
  const told = JSON.stringify({ packages: versions, calls }, null, 1);
  writeFileSync(process.env.RECORD_FILE, `${told}\n`);
}
