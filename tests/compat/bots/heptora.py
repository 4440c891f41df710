# Example: Secrets are referenced by name
username = heptora.get_secret("SAP_USER")
password = heptora.get_secret("SAP_PASSWORD")
# The local robot provides the actual value during execution
login_to_sap(username, password)
