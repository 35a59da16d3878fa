"""What a training is told, and what a trained model is; what a paper's config says of its trained models. No torch."""
