import os

password = os.environ["DB_PASSWORD"]
token = request.headers.get("Authorization", "").removeprefix("Bearer ")
secret = load_secret("/run/secrets/app")
connect(host=host, user=user, password=password)
api_key = settings.api_key
TOKEN = None
