"""Names of the attributes that other emitters write and TokenLedger reads, one block per emitter.

Names that they share with the conventions are in `attributes`. Each name was read from a span of
the running package on 2026-11-25 (the recordings under `tests/exporter/dialects/spans` name the
package and its release). A value marked "reduced" may hold more than counts; only its counts, tiers
and ids are ever stored.
"""

from typing import Final

# --- Several emitters

AGENT_NAME: Final = "gen_ai.agent.name"
"""The agent's name. String. The conventions; used if there is no agent id."""

CACHE_WRITE_TOKENS_STRANDS: Final = "gen_ai.usage.cache_write_input_tokens"
"""Cache writes. Integer, tokens. Strands."""

USER: Final = "gen_ai.user"
"""The `user` of the request. String. OpenLLMetry."""

REQUEST_USER: Final = "gen_ai.request.user"
"""The `user` of the request. String. OpenLIT."""

END_USER_ID: Final = "enduser.id"
"""The user of a web request. String. OpenTelemetry's web and security instrumentations (registry of
the semantic conventions, checked 2026-11-28)."""

OPERATION_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
"""The time from the request to the first chunk. Float, seconds. Pydantic AI, @ai-sdk/otel."""

EXCEPTION_TYPE: Final = "exception.type"
"""The class of an exception, on a span's event. String. OpenTelemetry's `record_exception`."""

OPENAI_SYSTEM_FINGERPRINT_OLDER: Final = "gen_ai.openai.response.system_fingerprint"
"""OpenAI's fingerprint under its older name. String. OpenLLMetry."""

# --- OpenLLMetry

LLM_REQUEST_TYPE: Final = "llm.request.type"
"""`chat`, `completion`, `embedding`. String. OpenLLMetry's packages that are not migrated yet."""

LLM_PROMPT_TOKENS: Final = "llm.usage.prompt_tokens"
"""Input tokens before OpenLLMetry 0.30. Integer, tokens."""

LLM_COMPLETION_TOKENS: Final = "llm.usage.completion_tokens"
"""Output tokens before OpenLLMetry 0.30. Integer, tokens."""

LLM_TOTAL_TOKENS: Final = "llm.usage.total_tokens"
"""Input and output together, in packages that are not migrated yet. Number, tokens."""

ASSOCIATION_PREFIX: Final = "traceloop.association.properties."
"""Prefix of the app's own properties of a trace. Strings. OpenLLMetry."""

# --- OpenInference

OI_KIND: Final = "openinference.span.kind"
"""`LLM`, `EMBEDDING`, and kinds that are not calls (`CHAIN`, `TOOL`). String."""

OI_INPUT: Final = "llm.token_count.prompt"
"""Input tokens, including cached ones. Integer, tokens."""

OI_OUTPUT: Final = "llm.token_count.completion"
"""Output tokens, including reasoning. Integer, tokens."""

OI_TOTAL: Final = "llm.token_count.total"
"""Input and output together. Integer, tokens."""

OI_CACHE_READ: Final = "llm.token_count.prompt_details.cache_read"
"""Cache reads. Integer, tokens."""

OI_CACHE_WRITE: Final = "llm.token_count.prompt_details.cache_write"
"""Cache writes. Integer, tokens."""

OI_AUDIO_INPUT: Final = "llm.token_count.prompt_details.audio"
"""Audio in the input. Integer, tokens."""

OI_REASONING: Final = "llm.token_count.completion_details.reasoning"
"""Reasoning in the output. Integer, tokens."""

OI_AUDIO_OUTPUT: Final = "llm.token_count.completion_details.audio"
"""Audio in the output. Integer, tokens."""

OI_MODEL: Final = "llm.model_name"
"""The model that answered. String."""

OI_REQUEST_MODEL: Final = "llm.request.model_name"
"""The requested model. String."""

OI_RESPONSE_MODEL: Final = "llm.response.model_name"
"""The model that answered. String."""

OI_EMBEDDING_MODEL: Final = "embedding.model_name"
"""The embedding model. String."""

OI_PROVIDER: Final = "llm.provider"
"""The provider: `openai`, `azure`, `google`, `aws`. String."""

OI_SYSTEM: Final = "llm.system"
"""The vendor of the model family. String; used if there is no provider."""

OI_METADATA: Final = "metadata"
"""The app's attribution: a JSON object. String, reduced to its plain values."""

OI_TAGS: Final = "tag.tags"
"""The app's tags. String array."""

OI_OUTPUT_VALUE: Final = "output.value"
"""The whole answer as JSON. String, reduced to the response id at its start."""

OI_AGENT: Final = "agent.name"
"""The agent's name. String."""

# --- Vercel AI SDK

VERCEL_OPERATION: Final = "ai.operationId"
"""`ai.generateText.doGenerate`: only a name that ends in do... is a call. String."""

VERCEL_INPUT: Final = "ai.usage.inputTokens"
"""Input tokens; including cached ones since version 6. Integer, tokens."""

VERCEL_INPUT_UNTIL_4: Final = "ai.usage.promptTokens"
"""Input tokens up to version 4. Integer, tokens."""

VERCEL_OUTPUT: Final = "ai.usage.outputTokens"
"""Output tokens. Integer, tokens."""

VERCEL_OUTPUT_UNTIL_4: Final = "ai.usage.completionTokens"
"""Output tokens up to version 4. Integer, tokens."""

VERCEL_TOTAL: Final = "ai.usage.totalTokens"
"""Input and output together. Integer, tokens."""

VERCEL_EMBEDDING_TOKENS: Final = "ai.usage.tokens"
"""Input tokens of an embedding. Integer, tokens."""

VERCEL_CACHED: Final = "ai.usage.cachedInputTokens"
"""Cache reads. Integer, tokens."""

VERCEL_CACHE_READ: Final = "ai.usage.inputTokenDetails.cacheReadTokens"
"""Cache reads. Integer, tokens. Version 6."""

VERCEL_CACHE_WRITE: Final = "ai.usage.inputTokenDetails.cacheWriteTokens"
"""Cache writes. Integer, tokens. Version 6."""

VERCEL_REASONING: Final = "ai.usage.reasoningTokens"
"""Reasoning in the output. Integer, tokens."""

VERCEL_MODEL: Final = "ai.model.id"
"""The requested model. String."""

VERCEL_PROVIDER: Final = "ai.model.provider"
"""Provider and API, `openai.chat`. String."""

VERCEL_RESPONSE_ID: Final = "ai.response.id"
"""The provider's id of the answer. String."""

VERCEL_RESPONSE_MODEL: Final = "ai.response.model"
"""The model that answered. String."""

VERCEL_PROVIDER_METADATA: Final = "ai.response.providerMetadata"
"""Further data of the provider, including its usage object. String, JSON, reduced."""

VERCEL_FIRST_CHUNK_MS: Final = "ai.response.msToFirstChunk"
"""The time from the request to the first chunk. Float, milliseconds."""

VERCEL_FUNCTION: Final = "ai.telemetry.functionId"
"""The app's name of the calling function; read as the feature. String."""

VERCEL_METADATA_PREFIX: Final = "ai.telemetry.metadata."
"""Prefix of the app's attribution. Strings."""

# --- Langfuse

LANGFUSE_TYPE: Final = "langfuse.observation.type"
"""`generation`, `embedding`, and types that are not calls. String."""

LANGFUSE_USAGE: Final = "langfuse.observation.usage_details"
"""The usage: the provider's own object, or Langfuse's disjoint counts. String, JSON, reduced."""

LANGFUSE_MODEL: Final = "langfuse.observation.model.name"
"""The model. String."""

LANGFUSE_METADATA_PREFIX: Final = "langfuse.trace.metadata."
"""Prefix of the app's attribution of the trace. Strings, JSON."""

LANGFUSE_TAGS: Final = "langfuse.trace.tags"
"""Tags of the trace. String array."""

LANGFUSE_USER: Final = "langfuse.user.id"
"""The trace's user, before Langfuse wrote `user.id`. String."""

LANGFUSE_SESSION: Final = "langfuse.session.id"
"""The trace's session, before Langfuse wrote `session.id`. String."""

# --- Logfire and Pydantic AI

LOGFIRE_USAGE: Final = "gen_ai.usage.raw"
"""The provider's own usage object. String, JSON, reduced."""

PYDANTIC_REASONING: Final = "gen_ai.usage.details.reasoning_tokens"
"""Reasoning in the output. Integer, tokens. Pydantic AI."""

PYDANTIC_CACHE_WRITE_1H: Final = "gen_ai.usage.details.ephemeral_1h_input_tokens"
"""Cache writes stored for one hour. Integer, tokens. Pydantic AI."""

PYDANTIC_AUDIO_INPUT: Final = "gen_ai.usage.details.input_audio_tokens"
"""Audio in the input. Integer, tokens. Pydantic AI."""

PYDANTIC_AUDIO_OUTPUT: Final = "gen_ai.usage.details.output_audio_tokens"
"""Audio in the output. Integer, tokens. Pydantic AI."""

PYDANTIC_THINKING: Final = "gen_ai.usage.details.thoughts_tokens"
"""Gemini's thinking, in the output. Integer, tokens. Pydantic AI."""

PYDANTIC_AUDIO_PROMPT: Final = "gen_ai.usage.details.audio_prompt_tokens"
"""Audio in Gemini's prompt. Integer, tokens. Pydantic AI."""

PYDANTIC_IMAGE_PROMPT: Final = "gen_ai.usage.details.image_prompt_tokens"
"""Images in Gemini's prompt. Integer, tokens. Pydantic AI."""

PYDANTIC_VIDEO_PROMPT: Final = "gen_ai.usage.details.video_prompt_tokens"
"""Input tokens that are video. Integer, tokens."""

PYDANTIC_CACHED_AUDIO: Final = "gen_ai.usage.details.cache_audio_read_tokens"
"""Audio in the cache reads. Integer, tokens. Pydantic AI."""

PYDANTIC_AUDIO_CACHE: Final = "gen_ai.usage.details.audio_cache_tokens"
"""Audio in Gemini's cache reads. Integer, tokens. Pydantic AI."""

PYDANTIC_IMAGE_CACHE: Final = "gen_ai.usage.details.image_cache_tokens"
"""Images in Gemini's cache reads. Integer, tokens. Pydantic AI."""

PYDANTIC_AUDIO_ANSWER: Final = "gen_ai.usage.details.audio_candidates_tokens"
"""Audio in Gemini's answer. Integer, tokens. Pydantic AI."""

PYDANTIC_IMAGE_ANSWER: Final = "gen_ai.usage.details.image_candidates_tokens"
"""Images in Gemini's answer. Integer, tokens. Pydantic AI."""

PYDANTIC_TEXT_ANSWER: Final = "gen_ai.usage.details.text_candidates_tokens"
"""Text in Gemini's answer: the answer is split, and what is not named is 0. Integer, tokens.
Pydantic AI."""

# --- LiteLLM

LITELLM_CACHE_HIT: Final = "litellm.cache_hit"
"""True if the answer came from LiteLLM's own cache, without a provider. Boolean."""

LITELLM_PROVIDER_MODEL: Final = "litellm.provider.model"
"""Provider and model, `openai/gpt-4o`. String."""

LITELLM_USAGE: Final = "metadata.usage_object"
"""LiteLLM's usage object as Python prints it. String, reduced."""

LITELLM_USER: Final = "llm.user"
"""The `user` of the request. String."""

LITELLM_END_USER: Final = "metadata.user_api_key_end_user_id"
"""The proxy's end user. String."""

LITELLM_KEY_USER: Final = "metadata.user_api_key_user_id"
"""The owner of the proxy key. String."""

LITELLM_TEAM: Final = "metadata.team_id"
"""The team that the app set. String."""

LITELLM_KEY_TEAM: Final = "metadata.user_api_key_team_id"
"""The team the proxy key belongs to. String."""

LITELLM_KEY_ORGANIZATION: Final = "metadata.user_api_key_org_id"
"""The organization the proxy key belongs to. String."""

LITELLM_KEY_PROJECT: Final = "metadata.user_api_key_project_id"
"""The project the proxy key belongs to. String."""

# --- Strands

STRANDS_TAGS: Final = "tags"
"""The app's tags of an agent. String array."""

# --- Google ADK

ADK_RESPONSE: Final = "gcp.vertex.agent.llm_response"
"""The whole answer, including its usage. String, JSON, reduced to its usage."""

ADK_SESSION: Final = "gcp.vertex.agent.session_id"
"""The agent's session. String."""

ADK_REASONING: Final = "gen_ai.usage.experimental.reasoning_tokens"
"""Thinking, which version 1 leaves out of the output. Integer, tokens."""

# --- LangSmith

LANGSMITH_KIND: Final = "langsmith.span.kind"
"""`llm`, `embedding`, and kinds that are not calls. String."""

LANGSMITH_USAGE: Final = "langsmith.metadata.usage_metadata"
"""LangChain's usage object. String, JSON, reduced."""

LANGSMITH_INPUT_DETAILS: Final = "gen_ai.usage.input_token_details"
"""Parts of the input as Python prints a dict. String, reduced."""

LANGSMITH_OUTPUT_DETAILS: Final = "gen_ai.usage.output_token_details"
"""Parts of the output as Python prints a dict. String, reduced."""

LANGSMITH_METADATA_PREFIX: Final = "langsmith.metadata."
"""Prefix of the attribution by the app, LangChain and LangSmith itself."""

LANGSMITH_PROVIDER: Final = "langsmith.metadata.ls_provider"
"""The provider. String."""

LANGSMITH_MODEL: Final = "langsmith.metadata.ls_model_name"
"""The requested model. String."""

LANGSMITH_TAGS: Final = "langsmith.span.tags"
"""Tags of the run, joined by commas. String."""

# --- The mistralai SDK

MISTRAL_TOTAL: Final = "mistral_ai.request.total_tokens"
"""Input and output together. Integer, tokens."""

MISTRAL_OPERATION: Final = "mistral_ai.operation.id"
"""The API's name of the operation, `chat_completion_v1_chat_completions_post`. String."""
