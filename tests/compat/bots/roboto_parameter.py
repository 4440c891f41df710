from roboto import InvocationContext

context = InvocationContext.from_env()
api_key = context.get_parameter("api_key")  # Automatically resolved
