from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundle.bundles import Bundled, bundle, compile_to
from tests.bundle.models import IMAGES, WORDS


@pytest.fixture(scope="session")
def images_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_to(tmp_path_factory.mktemp("images") / "images.dsc", IMAGES.proto())


@pytest.fixture(scope="session")
def images(images_artifact: Path) -> Bundled:
    return bundle(images_artifact, images_artifact.with_suffix(""))


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Bundled:
    folder = tmp_path_factory.mktemp("words")
    return bundle(compile_to(folder / "words.dsc", WORDS.proto()), folder / "words")
