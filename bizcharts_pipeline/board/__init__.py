"""Live catalogue of /biz/: API client and parser, spool, import."""
