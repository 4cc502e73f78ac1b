"""Shared by the SDKs that the Stainless generator writes."""
