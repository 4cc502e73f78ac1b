"""Names of the span attributes that TokenLedger writes or reads.

No Python package has the newest GenAI names (the `gen_ai.*` constants of
opentelemetry-semantic-conventions 0.66b2 are marked as moved and lack `cache_write`), so they are
defined here. Source: open-telemetry/semantic-conventions-genai, read 2026-11-22. Each line gives
the meaning, the type, the unit, and who sets it; "emitter" is any instrumentation, ours or not.
"""

from typing import Final

OPERATION_NAME: Final = "gen_ai.operation.name"
"""The kind of call: `chat`, `embeddings`, `text_completion` ... String. Set by the emitter."""

PROVIDER_NAME: Final = "gen_ai.provider.name"
"""The provider, in the convention's spelling (`openai`, `anthropic`). String. Emitter, at start."""

PROVIDER_NAME_UNTIL_1_36: Final = "gen_ai.system"
"""The provider's older name (conventions 1.36 and before). String. Older emitters."""

REQUEST_MODEL: Final = "gen_ai.request.model"
"""The requested model. String. Set by the emitter at start."""

RESPONSE_MODEL: Final = "gen_ai.response.model"
"""The model that answered; this one is billed. String. Set by the emitter at the end."""

RESPONSE_ID: Final = "gen_ai.response.id"
"""The provider's id of the answer. String. Set by the emitter at the end."""

REQUEST_STREAM: Final = "gen_ai.request.stream"
"""True if a stream was requested. Boolean. Set by the emitter at start."""

REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
"""The requested maximum of output tokens. Integer, tokens. Set by the emitter at start."""

REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
"""The requested sampling temperature. Float. Set by the emitter at start."""

REQUEST_TOP_P: Final = "gen_ai.request.top_p"
"""The requested nucleus sampling share. Float. Set by the emitter at start."""

REQUEST_TOP_K: Final = "gen_ai.request.top_k"
"""The requested top-k cut. Number. Set by the emitter at start."""

REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
"""The requested frequency penalty. Float. Set by the emitter at start."""

REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
"""The requested presence penalty. Float. Set by the emitter at start."""

REQUEST_SEED: Final = "gen_ai.request.seed"
"""The requested seed. Integer. Set by the emitter at start."""

REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
"""The requested number of choices, if not 1. Integer. Set by the emitter at start."""

REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
"""The requested reasoning effort (`low`, `high`). String. Set by the emitter at start."""

REQUEST_DIMENSIONS: Final = "gen_ai.embeddings.dimension.count"
"""The requested length of the embedding vectors. Integer. Set by the emitter at start."""

REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
"""The requested encoding of the embedding vectors (`float`, `base64`); OpenAI's SDK requests base64
if the app names none. String array. Set by the emitter at start."""

REQUEST_PREVIOUS_RESPONSE_ID: Final = "gen_ai.request.previous_response.id"
"""The earlier response that a request continues. String. Set by the emitter at start."""

OUTPUT_TYPE: Final = "gen_ai.output.type"
"""The requested kind of content: `text`, `json`, `image`, `speech`. String. Emitter."""

FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
"""Why the model stopped, one per choice: `stop`, `length`, `content_filter`, `tool_call`, `error`
or the provider's own word. String array. Set by the emitter at the end."""

CONVERSATION_ID: Final = "gen_ai.conversation.id"
"""The conversation a call belongs to (OpenAI's `conversation`); it is the session id of a call that
has none. String. Set by the emitter at start."""

AGENT_ID: Final = "gen_ai.agent.id"
"""The agent that made the call. String. Attribution."""

AGENT_ID_ALIAS: Final = "tokenledger.agent_id"
"""The agent, if `gen_ai.agent.id` is not set. String. Written by hand."""

INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
"""Input tokens **including** cache reads and cache writes. Integer, tokens. Emitter, at the end."""

OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
"""Output tokens **including** reasoning. Integer, tokens. Emitter, at the end."""

TOTAL_TOKENS: Final = "gen_ai.usage.total_tokens"
"""Input and output together, as the provider adds them up. Integer, tokens. Other emitters; our
instrumentors set it only if the provider's total is not the sum of the counts."""

INPUT_TOKENS_UNTIL_1_26: Final = "gen_ai.usage.prompt_tokens"
"""Input tokens under the name of conventions 1.26 and before. Integer, tokens. Older emitters."""

OUTPUT_TOKENS_UNTIL_1_26: Final = "gen_ai.usage.completion_tokens"
"""Output tokens under the name of conventions 1.26 and before. Integer, tokens. Older emitters."""

CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
"""Input tokens read from a cache; part of the input. Integer, tokens. Emitter, at the end."""

CACHE_READ_TOKENS_OLDER: Final = "gen_ai.usage.cache_read_input_tokens"
"""Cache reads as OpenLLMetry and others wrote them before 1.40. Integer, tokens."""

CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
"""Input tokens written to a cache; part of the input. Integer, tokens. Emitter, at the end."""

CACHE_WRITE_TOKENS_UNTIL_1_42: Final = "gen_ai.usage.cache_creation.input_tokens"
"""Cache writes under their name before the rename to `cache_write`. Integer, tokens."""

CACHE_WRITE_TOKENS_OLDER: Final = "gen_ai.usage.cache_creation_input_tokens"
"""Cache writes as OpenLLMetry and others wrote them before 1.40. Integer, tokens."""

CACHE_WRITE_5M_TOKENS: Final = "anthropic.usage.cache_creation.ephemeral_5m_input_tokens"
"""Cache writes stored for five minutes. Integer, tokens. Our instrumentor, and the SDK's own."""

CACHE_WRITE_1H_TOKENS: Final = "anthropic.usage.cache_creation.ephemeral_1h_input_tokens"
"""Cache writes stored for one hour; part of the cache writes. Integer, tokens. Same emitters."""

REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
"""Reasoning ("thinking") tokens; part of the output. Integer, tokens. Emitter, at the end."""

REASONING_TOKENS_OLDER: Final = "gen_ai.usage.reasoning_tokens"
"""Reasoning tokens as OpenLLMetry and OpenLIT write them. Integer, tokens."""

AUDIO_INPUT_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
"""Audio tokens in the input. Integer, tokens. Emitter, at the end."""

CACHED_AUDIO_TOKENS: Final = "gen_ai.usage.audio.cache_read.input_tokens"
"""Audio tokens in the cache reads. Integer, tokens. Our instrumentors, at the end."""

AUDIO_OUTPUT_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
"""Audio tokens in the output. Integer, tokens. Emitter, at the end."""

IMAGE_INPUT_TOKENS: Final = "gen_ai.usage.image.input_tokens"
"""Image tokens in the input. Integer, tokens. Emitter, at the end."""

CACHED_IMAGE_TOKENS: Final = "gen_ai.usage.image.cache_read.input_tokens"
"""Image tokens in the cache reads. Integer, tokens. Our instrumentors, at the end."""

IMAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.image.output_tokens"
"""Image tokens in the output. Integer, tokens. Emitter, at the end."""

OPENAI_API_TYPE: Final = "openai.api.type"
"""Which OpenAI API was called: `chat_completions` or `responses`. String. Emitter."""

OPENAI_SERVICE_TIER: Final = "openai.response.service_tier"
"""The tier on which OpenAI served the call; it sets the price. String. Emitter, at the end."""

OPENAI_SERVICE_TIER_UNTIL_1_41: Final = "gen_ai.openai.response.service_tier"
"""The OpenAI tier under its older name. String. Older emitters."""

OPENAI_SYSTEM_FINGERPRINT: Final = "openai.response.system_fingerprint"
"""OpenAI's fingerprint of the serving stack. String. Emitter, at the end."""

ANTHROPIC_SERVICE_TIER: Final = "anthropic.response.service_tier"
"""Anthropic's tier of the call (`standard`, `priority`, `batch`). String. Emitter, at the end."""

ANTHROPIC_INFERENCE_GEO: Final = "anthropic.response.inference_geo"
"""Where Anthropic ran the call (`us`, `global`); it sets the price. String. Our instrumentors."""

ANTHROPIC_SPEED: Final = "anthropic.response.speed"
"""Anthropic's `standard` or `fast` mode; it sets the price. String. Our instrumentors."""

ANTHROPIC_REFUSALS: Final = "anthropic.response.refusals"
"""Why models declined, in the order they ran: the policy area (`cyber`, `bio` ...), "" if the
provider named none. It decides what is billed. String array. Our instrumentors."""

USAGE_PART: Final = "tokenledger.usage.part"
"""The part of an answer that a row is for: `advisor_message`, `message` of a model that declined,
`image_generation`, or `svg`. String. The exporter."""

OPENAI_REGION: Final = "openai.request.region"
"""The region of the OpenAI endpoint (`eu`); it sets the price. String. Set by our instrumentors at
start."""

OPENAI_REQUEST_SERVICE_TIER: Final = "openai.request.service_tier"
"""The tier requested of OpenAI. String. Set by the emitter at start."""

ANTHROPIC_REQUEST_SERVICE_TIER: Final = "anthropic.request.service_tier"
"""The tier requested of Anthropic. String. Set by the emitter at start."""

SERVER_ADDRESS: Final = "server.address"
"""The host that was called. String. Set by the emitter at start."""

SERVER_PORT: Final = "server.port"
"""The port that was called. Integer. Set by the emitter at start."""

HTTP_STATUS_CODE: Final = "http.response.status_code"
"""The provider's HTTP status if the call failed. Integer. Our instrumentors."""

HTTP_RESEND_COUNT: Final = "http.request.resend_count"
"""1 if the request was sent a second time, without our question. Integer. Our instrumentors."""

ERROR_TYPE: Final = "error.type"
"""The class of the failure or the provider's code for it (`rate_limit_exceeded`), never its text.
String. Set by the emitter on an error."""

TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
"""The time from the request to the first chunk of a stream. Float, seconds. Our instrumentors."""

USER_ID: Final = "user.id"
"""The user the call was made for, by the app's own id. String. Attribution."""

USER_ID_ALIAS: Final = "tokenledger.user_id"
"""The user, if `user.id` is not set. String. Written by hand; our instrumentors write `user.id`."""

SESSION_ID: Final = "session.id"
"""The session or conversation the call belongs to. String. Attribution."""

SESSION_ID_ALIAS: Final = "tokenledger.session_id"
"""The session, if `session.id` is not set. String. Written by hand."""

ORGANIZATION_ID: Final = "tokenledger.organization_id"
"""The tenant the call was made for. String. Attribution."""

FEATURE: Final = "tokenledger.feature"
"""The product feature that made the call. String. Attribution."""

TEAM: Final = "tokenledger.team"
"""The team that owns the feature. String. Attribution."""

PROJECT: Final = "tokenledger.project"
"""The project that is charged. String. Attribution."""

COST_CENTER: Final = "tokenledger.cost_center"
"""The cost center that is charged. String. Attribution."""

ENDPOINT: Final = "tokenledger.endpoint"
"""The app's own route that led to the call. String. Attribution."""

METADATA_PREFIX: Final = "tokenledger.metadata."
"""Prefix of any other key that the app attributes by. String values. Attribution."""

PROVIDER_USAGE: Final = "tokenledger.usage"
"""The provider's whole usage object, as it was sent. String, JSON. Our instrumentors."""

WEB_SEARCH_REQUESTS: Final = "tokenledger.usage.web_search_requests"
"""Billed web searches by the provider. Integer, requests. Our instrumentors."""

FILE_SEARCH_REQUESTS: Final = "tokenledger.usage.file_search_requests"
"""Billed file searches by the provider. Integer, requests. Our instrumentors."""

CODE_EXECUTION_REQUESTS: Final = "tokenledger.usage.code_execution_requests"
"""Code executions by the provider. Integer, requests. Our instrumentors."""

AUDIO_SECONDS: Final = "tokenledger.usage.audio_seconds"
"""Audio billed by its length, not by tokens. Integer, seconds, rounded up. Our instrumentors."""

INPUT_CHARACTERS: Final = "tokenledger.usage.input_characters"
"""Text billed by its length, not by tokens (speech). Integer, characters. Our instrumentors."""

IMAGES: Final = "tokenledger.usage.images"
"""The number of images in the answer. Integer. Our instrumentors."""

VIDEO_INPUT_TOKENS: Final = "tokenledger.usage.video_input_tokens"
"""Input tokens that are video, included in the input. Integer, tokens. Our instrumentors."""

UNKNOWN_CACHE_LIFETIMES: Final = "tokenledger.usage.unknown_cache_lifetimes"
"""True if the emitter does not say how long its cache writes are kept. Boolean. Claude Code's
logs."""

FURTHER_USAGE: Final = "tokenledger.usage.further"
"""What an answer bills at the rates of other models, in addition to its counts: a list of usage
objects, each with its `type` and its `model`. String, JSON. Our instrumentors, at the end."""

UNKNOWN_USAGE: Final = "tokenledger.usage.unknown"
"""What the provider bills for a call but does not report, in words. String. Our instrumentors."""

USAGE_ESTIMATED: Final = "tokenledger.usage.estimated"
"""True if output tokens were estimated, because the stream broke off before the provider reported
them. Boolean. Our instrumentors."""

REPORTED_COST: Final = "tokenledger.cost.reported_usd"
"""The cost that the provider itself reports (OpenRouter). Number, US dollars. Our instrumentors."""

COST_SOURCE: Final = "tokenledger.cost.source"
"""The field of the response that reports the cost (`usage.cost`), or `track`. String. Our
instrumentors."""

CONVENTIONS_COST: Final = "gen_ai.usage.cost.amount"
"""The cost of a call. Number, in the currency of `gen_ai.usage.cost.currency`. Proposed for the
GenAI conventions (pull request 443, read 2026-11-28); some emitters have it."""

CONVENTIONS_COST_CURRENCY: Final = "gen_ai.usage.cost.currency"
"""The currency of the cost, ISO 4217. String."""

CONVENTIONS_COST_SOURCE: Final = "gen_ai.usage.cost.source"
"""Who computed the cost: `provider`, if it was in the response, or `local`. String."""

NOT_SENT: Final = "tokenledger.request.not_sent"
"""True if no connection was made, so that no request reached the provider. Boolean. Our
instrumentors."""

SDK_VERSION: Final = "tokenledger.sdk.version"
"""The SDK that made the call and its release (`openai 3.54.0`). String. Our instrumentors."""

CALL_ID: Final = "tokenledger.call.id"
"""A stable id from the emitter, for calls whose span id changes on a repeat. String."""

CALL_STARTED_NS: Final = "tokenledger.call.started_ns"
"""When the call named by `tokenledger.call.id` began, by the provider's clock. Together with the id
it identifies the row, whenever the span was made. Integer, nanoseconds since 1970. Our
instrumentors."""

SERVICE_NAME: Final = "service.name"
"""The app. String, resource attribute. The app's OpenTelemetry setup, or `app_name`."""

SERVICE_VERSION: Final = "service.version"
"""The app's release. String, resource attribute. The app's OpenTelemetry setup."""

DEPLOYMENT_ENVIRONMENT: Final = "deployment.environment.name"
"""Where the app runs (`production`). String, resource attribute. OTel setup, or `environment`."""

DEPLOYMENT_ENVIRONMENT_UNTIL_1_26: Final = "deployment.environment"
"""The environment under its older name. String, resource attribute. Older emitters."""

SCOPE_PREFIX: Final = "tokenledger."
"""Instrumentation scopes of our own emitters start with this."""

ANTHROPIC_SDK_SCOPE: Final = "com.anthropic.sdk.python"
"""Scope of the spans that the anthropic SDK (>= 1.14) makes of its own calls."""
