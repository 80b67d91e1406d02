"""One pass of scoring as a process of its own, to be killed."""

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.live import LivePipeline
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import score_new_posts
from bizcharts_pipeline.settings import load_settings

pipeline = LivePipeline.from_settings(load_settings())
scorer = champion_scorer(pipeline.database, pipeline.place, utc_now())
print(score_new_posts(pipeline.database, scorer, limit=None, now=utc_now()).methods)
