// Reserves money before a model call is sent, and settles what it has cost. Needs only fetch.

const SERVICE = process.env.TOKENLEDGER_URL ?? "http://127.0.0.1:4318";
const TOKEN = process.env.TOKENLEDGER_TOKEN ?? "";

type Call = {
  dimensions: Record<string, string>;
  estimate_usd?: string;
  provider?: string;
  model?: string;
  input_tokens?: number;
  max_output_tokens?: number;
};
type RefusingBudget = { budget: string | null; reason: string; remedy: string; resets_at: string | null };
type Answer = { usage: { prompt_tokens: number; completion_tokens: number } };

/** The call must not be sent: a budget has no room for it. */
export class BudgetExceeded extends Error {
  budgets: RefusingBudget[];

  constructor(message: string, budgets: RefusingBudget[]) {
    super(message);
    this.budgets = budgets;
  }
}

async function ask(name: string, fields: object): Promise<any> {
  const response = await fetch(`${SERVICE}/v1/budgets/${name}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(TOKEN && { authorization: `Bearer ${TOKEN}` }),
    },
    body: JSON.stringify(fields),
    signal: AbortSignal.timeout(5000),
  });
  const answer = await response.json();
  if (response.status === 402) throw new BudgetExceeded(answer.message, answer.budgets);
  if (!response.ok) throw new Error(`budgets answered ${response.status}: ${answer.message}`);
  return answer;
}

/** Sends a call if every budget has room; `send` returns its answer and what it has cost. */
export async function withinBudget<T>(
  call: Call,
  send: () => Promise<{ answer: T; costUsd?: string }>,
): Promise<T> {
  const { reservation_id } = await ask("reserve", call);
  // If this fails, the request may have been sent: its money stays reserved, then counts as unconfirmed.
  const { answer, costUsd } = await send();
  await ask("settle", { reservation_id, ...(costUsd && { cost_usd: costUsd }) });
  return answer;
}

async function chat(): Promise<{ answer: Answer; costUsd: string }> {
  const response = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
    body: JSON.stringify({ model: "gpt-4o", max_tokens: 100, messages: [{ role: "user", content: "Hello" }] }),
  });
  if (!response.ok) throw new Error(`the provider answered ${response.status}`);
  const answer: Answer = await response.json();
  // $2.50 per million input tokens, $10 per million output tokens.
  const picodollars = answer.usage.prompt_tokens * 2_500_000 + answer.usage.completion_tokens * 10_000_000;
  return { answer, costUsd: (picodollars / 1e12).toFixed(12) };
}

const call: Call = {
  dimensions: { team: "web", user: "ada" },
  provider: "openai",
  model: "gpt-4o",
  input_tokens: 1_000,
  max_output_tokens: 100,
};
for (let number = 1; number <= 3; number++) {
  try {
    const answer = await withinBudget(call, chat);
    console.log(`call ${number}: ${answer.usage.completion_tokens} output tokens`);
  } catch (error) {
    if (!(error instanceof BudgetExceeded)) throw error;
    console.log(`call ${number}: ${error.message}`);
  }
}
