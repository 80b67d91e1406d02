"""Environment variables that hold API keys and other secrets; each value is read when it is used and never stored."""

API_KEYS = (
    "RUNPOD_API_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "VISION_API_KEY",
    "GITHUB_TOKEN",
    "COINGECKO_API_KEY",
    "COINMARKETCAP_API_KEY",
    "CMC_PRO_API_KEY",
    "BIZCHARTS_ALERT_URLS",
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
