from roboto import Secret

secret = Secret.from_name("my-api-key")
api_key = secret.read_value().get_secret_value()
