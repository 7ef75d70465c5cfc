"""A data pipeline: collects records, keeps bad ones apart, stores, computes, forecasts and publishes data assets."""
