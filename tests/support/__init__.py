"""What tests share: clips drawn by scripts, stand-ins, servers and programs."""
