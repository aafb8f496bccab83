"""What enters a study: labels that readers corrected, stages of inclusion and their lists, flow diagram."""
