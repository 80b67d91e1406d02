"""Error pages that a proxy or a failing archive returns in place of an archive page."""


def cloudflare(title: str) -> bytes:
    """Return the page of Cloudflare that the simulated archive answers with in place of a page of its own."""
    return (
        f'<!DOCTYPE html><html lang="en-US"><head><title>{title}</title><meta name="robots" content="noindex">'
        '</head><body class="no-js"><div class="main-wrapper" role="main"><div class="main-content">'
        "<h1>warosu.org</h1><noscript>JavaScript is needed here</noscript>"
        '<form id="challenge-form" action="/?__cf_chl_f_tk=1" method="POST"></form></div></div></body></html>'
    ).encode()


FUUKA_ERROR = (
    b"<!doctype html><html lang=en><head><title>Error</title></head><body>"
    b'<div class="error container"><h2>Error!</h2><ul><li>The search engine is down</li></ul></div></body></html>'
)

NEW_LAYOUT = (
    b'<!doctype html><html lang="en"><head><title>/biz/</title></head><body><main id="app" data-version="9">'
    b'<article data-post="1"><header>Anonymous</header><p>All is new here</p></article></main></body></html>'
)
