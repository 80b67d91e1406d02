"""BizCharts as an unattended service, and single jobs: Dagster's programs, started and supervised."""
