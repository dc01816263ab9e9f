"""Pictures and clips as files: reading what people upload, writing what was made. Torch-free."""
