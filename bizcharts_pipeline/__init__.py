"""BizCharts: reads the mood of 4chan's /biz/ board. The domain; only ``definitions`` knows Dagster."""
