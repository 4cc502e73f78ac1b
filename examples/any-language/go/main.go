// A Go app whose model calls say who they are for.
package main

import (
	"context"
	"log"
	"regexp"

	"github.com/openai/openai-go/v3"
	"go.opentelemetry.io/contrib/processors/baggagecopy"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var attribution = regexp.MustCompile(`^(user\.id|session\.id|tokenledger\..*)$`)

func main() {
	ctx := context.Background()
	exporter, err := otlptracehttp.New(ctx)
	check(err)
	provider := sdktrace.NewTracerProvider(
		// Copies baggage to every span that starts, so that a model call says who it is for.
		sdktrace.WithSpanProcessor(baggagecopy.NewSpanProcessor(func(member baggage.Member) bool {
			return attribution.MatchString(member.Key())
		})),
		sdktrace.WithBatcher(exporter),
	)
	otel.SetTracerProvider(provider)

	client := openai.NewClient()
	check(ask(onBehalfOf(ctx, "ada", "support"), client))
	check(ask(ctx, client)) // a call without a user has the team of OTEL_RESOURCE_ATTRIBUTES all the same
	check(provider.Shutdown(ctx))
}

// onBehalfOf returns a context whose model calls are for a user and a feature.
func onBehalfOf(ctx context.Context, userID, feature string) context.Context {
	user, err := baggage.NewMemberRaw("user.id", userID)
	check(err)
	product, err := baggage.NewMemberRaw("tokenledger.feature", feature)
	check(err)
	bag, err := baggage.New(user, product)
	check(err)
	return baggage.ContextWithBaggage(ctx, bag)
}

// ask calls the model in a span of the GenAI conventions. openai-go makes no spans of its own.
func ask(ctx context.Context, client openai.Client) error {
	ctx, span := otel.Tracer("my.app").Start(ctx, "chat gpt-4o",
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(
			attribute.String("gen_ai.operation.name", "chat"),
			attribute.String("gen_ai.provider.name", "openai"),
			attribute.String("gen_ai.request.model", openai.ChatModelGPT4o),
		))
	defer span.End()
	answer, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model:    openai.ChatModelGPT4o,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Where is my parcel?")},
	})
	if err != nil {
		span.SetStatus(codes.Error, "")
		return err
	}
	usage := answer.Usage
	span.SetAttributes(
		attribute.String("gen_ai.response.id", answer.ID),
		attribute.String("gen_ai.response.model", answer.Model),
		attribute.Int64("gen_ai.usage.input_tokens", usage.PromptTokens),
		attribute.Int64("gen_ai.usage.output_tokens", usage.CompletionTokens),
		attribute.Int64("gen_ai.usage.cache_read.input_tokens", usage.PromptTokensDetails.CachedTokens),
		attribute.Int64("gen_ai.usage.reasoning.output_tokens", usage.CompletionTokensDetails.ReasoningTokens),
	)
	return nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
