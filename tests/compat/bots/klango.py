import os

# Asset group=MYAPP, name=API_KEY
api_key = os.environ["KLANGO_ASSET_MYAPP_API_KEY"]

# GLOBAL group convenience
password = os.environ["KLANGO_PASSWORD"]
