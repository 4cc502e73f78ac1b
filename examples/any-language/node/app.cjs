const { context, propagation } = require("@opentelemetry/api");
const { OpenAI } = require("openai");

const openai = new OpenAI();

// Runs `work` for a user and a feature; the span processor copies this baggage to the spans.
function onBehalfOf(userId, feature, work) {
  const baggage = propagation.createBaggage({
    "user.id": { value: userId },
    "tokenledger.feature": { value: feature },
  });
  return context.with(propagation.setBaggage(context.active(), baggage), work);
}

const ask = () =>
  openai.chat.completions.create({
    model: "gpt-4o",
    messages: [{ role: "user", content: "Where is my parcel?" }],
  });

async function main() {
  await onBehalfOf("ada", "support", ask);
  await ask(); // a call without a user has the team of OTEL_RESOURCE_ATTRIBUTES all the same
}

main();
