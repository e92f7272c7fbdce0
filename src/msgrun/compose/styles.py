"""Styles written into the elements that they are for: some mail programs read no others."""

from msgrun.errors import ComposeError


class Styles:
    """Writes styles into HTML, in a twentieth of a millisecond or so a message.

    Each message is done by itself: loops and conditions decide which elements there are, so only
    what is filled in can be read as HTML. What cannot be written into elements, as @media, stays
    in a <style>. Nothing is ever loaded from elsewhere.

    Args:
        css: styles beside the HTML's own.
        own: whether the HTML's own <style> is written into its elements too.
    """

    def __init__(self, css: str, *, own: bool) -> None:
        from css_inline import CSSInliner  # only for definitions with styles

        self._inliner = CSSInliner(
            inline_style_tags=own,
            keep_style_tags=not own,
            keep_at_rules=own,
            keep_link_tags=True,
            load_remote_stylesheets=False,
            extra_css=css or None,
        )

    def inlined(self, html: str) -> str:
        """Return a document with its styles in place.

        Raises:
            ComposeError: MR303, it cannot be done.
        """
        from css_inline import InlineError

        try:
            return self._inliner.inline(html)
        except (InlineError, ValueError) as error:
            message = f"the styles cannot be written into the HTML: {error}"
            raise ComposeError(
                "MR303", message, "correct them, or set inline_css = false"
            ) from error
