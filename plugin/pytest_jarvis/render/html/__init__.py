"""`report.html`: its figures, data, templates, style and script."""

from pytest_jarvis.inputs.config import FILES
from pytest_jarvis.render import OutputFormat

FORMAT = OutputFormat(file=FILES["html"], render="pytest_jarvis.render.html.page:render_page")
