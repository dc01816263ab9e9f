"""The few icons of the page, inline so that nothing is fetched."""


def _icon(body: str, size: int = 18) -> str:
    return (
        f'<svg class="icon" width="{size}" height="{size}" viewBox="0 0 24 24" fill="none" stroke="currentColor" '
        f'stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{body}</svg>'
    )


STOP = _icon('<rect x="6" y="6" width="12" height="12" rx="2" fill="currentColor"/>', 14)
DOWNLOAD = _icon('<path d="M12 4v11m0 0 4.5-4.5M12 15l-4.5-4.5M5 20h14"/>')
CLIP = _icon(
    '<rect x="3" y="5" width="18" height="14" rx="3"/><path d="m10.5 9.5 4.5 2.5-4.5 2.5z" fill="currentColor"/>', 40
)
DOWNLOADED = _icon('<circle cx="12" cy="12" r="9"/><path d="m8 12.500 2.800 2.800L16 9.500"/>', 40)
STOPPED = _icon('<circle cx="12" cy="12" r="9"/><rect x="9" y="9" width="6" height="6" rx="1"/>', 40)
WARNING = _icon('<path d="M12 3 2.5 20h19zM12 10v4.5M12 17.4v.1"/>', 26)
PICTURE = _icon(
    '<rect x="3" y="4" width="18" height="16" rx="3"/><circle cx="9" cy="10" r="1.8"/><path d="m4 18 5.5-5 4 3.5 3-2.5 4 3.5"/>',
    36,
)
RESTORE = _icon('<path d="M4 12a8 8 0 1 0 2.6-5.9M4 4.5V9h4.5"/>')
BIN = _icon('<path d="M5 7h14M10 7V4.8h4V7m-7.5 0 .9 12.2h7.2L16.5 7M10.4 10.5v5.5m3.2-5.5v5.5"/>')
WALL = _icon(
    '<rect x="4" y="4" width="7" height="7" rx="1.5"/><rect x="13" y="4" width="7" height="7" rx="1.5"/>'
    '<rect x="4" y="13" width="7" height="7" rx="1.5"/><rect x="13" y="13" width="7" height="7" rx="1.5"/>'
)
CHEVRON = _icon('<path d="m7 14 5-5 5 5"/>', 14)
EXPAND = _icon('<path d="M9 4H4v5M15 20h5v-5M4 4l6 6m10 10-6-6"/>', 16)
DIALS = _icon(
    '<path d="M5 8h8m5 0h1M5 16h2m5 0h7"/><circle cx="15.500" cy="8" r="2.300"/><circle cx="9.500" cy="16" r="2.300"/>'
)
MARK = (
    '<svg class="mark" width="26" height="26" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="9" '
    'fill="#5a48e0"/><path d="M8 21.5c4.2 0 4.2-11 8-11s3.800 11 8 11" fill="none" stroke="#fff" stroke-width="2.6" '
    'stroke-linecap="round"/><circle cx="16" cy="10.500" r="2.700" fill="#fff"/></svg>'
)
