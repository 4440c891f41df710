"""Benchmarks: each module measures one promise of Botkeep beside its baseline, in one run."""
