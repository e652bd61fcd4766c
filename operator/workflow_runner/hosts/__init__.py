"""What runs the interpreter: `local` on asyncio. `events` turns what a run tells into messages."""
