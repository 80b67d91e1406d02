"""Lower bound of a page of the app: a page of Streamlit with one line, the last one of each of the app's pages."""

import streamlit as st  # noqa: TID253 - it is one of the pages

st.caption("Research tool, not financial advice")
