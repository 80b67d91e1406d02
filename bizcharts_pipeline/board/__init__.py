"""The live catalogue of /biz/: client and parser, spool, import."""
