"""Where prices come from: the genai-prices package, custom price files, the stored book."""
