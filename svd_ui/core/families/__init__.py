"""What a kind of checkpoint does differently, in torch; its plain facts are in ``svd_ui.catalog``."""
