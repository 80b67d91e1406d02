"""The app: Streamlit pages over the database for readers of the index. It only reads."""
