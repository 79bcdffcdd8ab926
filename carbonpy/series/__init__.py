"""Series, their consolidation, and the words people write for moments: pure, nothing here touches the world."""
