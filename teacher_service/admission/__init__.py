"""From a request's body to admitted images, before anything is charged."""
