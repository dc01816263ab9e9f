"""Colours, shapes and type of the page; the rest is assets/css. No font is fetched from anywhere."""

from __future__ import annotations

import gradio as gr

SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

INK = gr.themes.Color(
    "#f7f7f8", "#eeeef1", "#e1e2e7", "#cbccd4", "#9a9ca8", "#6b6d7a", "#52545f", "#3d3f49", "#26272f", "#18191f",
    "#101116",
)  # fmt: skip
IRIS = gr.themes.Color(
    "#eef0ff", "#e0e3ff", "#c7ccff", "#a5abff", "#8284fb", "#6a63f1", "#5a48e0", "#4c3ac4", "#3f329f", "#372f7e",
    "#211b4b",
)  # fmt: skip


def theme() -> gr.themes.Base:
    """One accent on quiet greys; contrast of text and controls at least 4.5:1 in both modes."""
    base = gr.themes.Base(
        primary_hue=IRIS,
        secondary_hue=IRIS,
        neutral_hue=INK,
        radius_size=gr.themes.sizes.radius_lg,
        spacing_size=gr.themes.sizes.spacing_md,
        text_size=gr.themes.sizes.text_md,
        font=SANS,
        font_mono=MONO,
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="*neutral_900",
        border_color_primary="*neutral_200",
        border_color_primary_dark="#2e3039",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_shadow_dark="none",
        block_padding="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_900",
        block_title_text_color_dark="*neutral_100",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_padding="0px",
        block_title_border_width="0px",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        block_info_text_size="*text_xs",
        input_background_fill="white",
        input_background_fill_dark="#1f2028",
        input_border_color="#8d8f9c",
        input_border_color_dark="#6b6d7a",
        input_border_width="1px",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        input_shadow="none",
        input_shadow_dark="none",
        input_shadow_focus="0 0 0 3px rgba(106,99,241,.22)",
        input_shadow_focus_dark="0 0 0 3px rgba(130,132,251,.32)",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="#26272f",
        button_secondary_background_fill_hover_dark="#30323c",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="#3a3c47",
        button_secondary_text_color="*neutral_900",
        button_secondary_text_color_dark="*neutral_100",
        error_text_color="#b42318",
        error_text_color_dark="#ff9c93",
        error_border_color="#f3b8b2",
        error_border_color_dark="#7a2c26",
        error_background_fill="#fff4f3",
        error_background_fill_dark="#2b1715",
    )
