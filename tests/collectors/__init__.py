"""Tests of the pipelines and deployments in `collector-config/`, with a real Collector."""
