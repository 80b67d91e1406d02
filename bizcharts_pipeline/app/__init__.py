"""The app: Streamlit pages over the database, for whoever reads the index. It only reads."""
