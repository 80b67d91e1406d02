"""BizCharts: sentiment of 4chan's /biz/ board. The domain package; only ``definitions`` imports Dagster."""
