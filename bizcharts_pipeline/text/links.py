"""Hosts that a text links to."""

import re

from bizcharts_pipeline.text.cleaning import clean_text

_HOST = re.compile(r"(?:https?://|\bwww\.)(?:www\.)?([a-z0-9-]+(?:\.[a-z0-9-]+)+)", re.IGNORECASE)
# Linked to by people who have nothing in common: boards, news, videos, charts and exchanges.
# fmt: off
COMMON_HOSTS = frozenset({
    "4chan.org", "4channel.org", "binance.com", "bitcoin.org", "blockchain.com", "bloomberg.com", "cnbc.com",
    "coinbase.com", "coindesk.com", "coingecko.com", "coinmarketcap.com", "cointelegraph.com", "dexscreener.com",
    "etherscan.io", "finance.yahoo.com", "finviz.com", "forbes.com", "github.com", "google.com", "imgur.com",
    "investing.com", "kraken.com", "medium.com", "reddit.com", "reuters.com", "streamable.com", "tradingview.com",
    "twitter.com", "warosu.org", "wikipedia.org", "wsj.com", "x.com", "youtu.be", "youtube.com", "zerohedge.com",
})
# fmt: on


def link_hosts(text: str) -> frozenset[str]:
    """Return the hosts of the links in ``text``, in lower case and without ``www.``, except common ones.

    A subdomain of a common host is common too.
    """
    found = {host.lower() for host in _HOST.findall(clean_text(text))}
    return frozenset(host for host in found if not _is_common(host))


def _is_common(host: str) -> bool:
    return any(host == common or host.endswith(f".{common}") for common in COMMON_HOSTS)
