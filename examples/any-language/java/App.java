import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.models.ChatModel;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.context.Scope;

public final class App {
  private static final OpenAIClient CLIENT = OpenAIOkHttpClient.fromEnv();

  private App() {}

  /** Runs work for a user and a feature; the agent copies this baggage to the spans. */
  static void onBehalfOf(String userId, String feature, Runnable work) {
    Baggage baggage =
        Baggage.current().toBuilder()
            .put("user.id", userId)
            .put("tokenledger.feature", feature)
            .build();
    try (Scope ignored = baggage.makeCurrent()) {
      work.run();
    }
  }

  static void ask() {
    CLIENT
        .chat()
        .completions()
        .create(
            ChatCompletionCreateParams.builder()
                .model(ChatModel.GPT_4O)
                .addUserMessage("Where is my parcel?")
                .build());
  }

  public static void main(String[] args) {
    onBehalfOf("ada", "support", App::ask);
    ask(); // a call without a user has the team of OTEL_RESOURCE_ATTRIBUTES all the same
    CLIENT.close();
  }
}
