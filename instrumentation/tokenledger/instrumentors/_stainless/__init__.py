"""What the SDKs share whose code the Stainless generator writes."""
