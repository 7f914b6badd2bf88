import numpy as np
import pytest


@pytest.fixture
def smooth():
  def smooth(rows, columns):
    """An image of slow waves, uint8 [rows, columns, 3]."""
    row, column = np.mgrid[:rows, :columns]
    waves = [
      np.sin(row / rows * 7 + phase) * np.cos(column / columns * 5 - phase)
      for phase in range(3)
    ]
    return np.rint(127.5 + 127 * np.stack(waves, -1)).astype(np.uint8)

  return smooth
