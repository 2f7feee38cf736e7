"""How Sphinx builds the site: `make docs`. Pages are Markdown that reads well without it, too."""

project = "hookd"
html_title = "hookd"
extensions = ["myst_parser"]
exclude_patterns = ["requirements.in"]

# Each heading is an anchor, named as code hosts name it, and a link to one that is missing is a warning.
myst_heading_anchors = 4

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "../api/pages/icon.svg"
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b7a6a", "color-brand-content": "#0b7a6a"},
    "dark_css_variables": {"color-brand-primary": "#45d1b8", "color-brand-content": "#45d1b8"},
}
