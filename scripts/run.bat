@echo off
rem Start the app on Windows. Written for Windows 10 and 11, but NOT RUN there yet: please report what you find.
rem Makes .venv and installs what is needed the first time; later starts need no network.
setlocal
cd /d "%~dp0.."

if exist .venv\Scripts\python.exe goto installed
set "PY=py -3.12"
%PY% -c "import sys" >nul 2>nul || set "PY=py -3.11"
%PY% -c "import sys" >nul 2>nul || set "PY=python"
%PY% -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>nul || (
    echo svd-ui: No Python 3.11 or newer found. Install it from https://www.python.org/downloads/ and run this again.
    exit /b 1
)
%PY% -m venv .venv || exit /b 1

:installed
call :choose
fc /b requirements.txt .venv\installed.txt >nul 2>nul && findstr /x "%BUILD%" .venv\build.txt >nul 2>nul && goto start
if %BUILD%==cu130 (copy /y requirements.txt .venv\wanted.txt >nul) else (
    rem xformers works on CUDA only, and is built for the CUDA of the newest torch.
    findstr /v /b "xformers" requirements.txt > .venv\wanted.txt
)
if not %BUILD%==cpu (
    rem Without an NVIDIA GPU PyPI's wheel is the CPU build on Windows; with one, the CUDA build comes from PyTorch's index. Its
    rem name says which one it is, because pip takes any build of the version for installed.
    for /f "tokens=1 delims=;" %%T in ('findstr /b "torch==" requirements.txt') do (
        .venv\Scripts\python -m pip install --index-url https://download.pytorch.org/whl/%BUILD% "%%T+%BUILD%" || exit /b 1
    )
)
.venv\Scripts\python -m pip install --quiet -r .venv\wanted.txt || exit /b 1
copy /y requirements.txt .venv\installed.txt >nul
>.venv\build.txt echo %BUILD%

:start
.venv\Scripts\python -m svd_ui serve %*
exit /b

rem Which build of torch fits NVIDIA's driver and the cards, as in scripts/bootstrap.sh: CUDA 13.0 takes driver 580 and a card of
rem compute capability 7.5 or newer, CUDA 12.6 driver 525 (528 on Windows) and cards from 5.0 to 9.0.
:choose
set "BUILD=cpu"
set "DRIVER=0"
set "OLDEST=705"
set "NEWEST=705"
nvidia-smi >nul 2>nul || exit /b 0
for /f "delims=." %%D in ('nvidia-smi --query-gpu^=driver_version --format^=csv^,noheader 2^>nul') do set "DRIVER=%%D"
for /f "tokens=1,2 delims=." %%A in ('nvidia-smi --query-gpu^=compute_cap --format^=csv^,noheader 2^>nul ^| findstr /r "^[0-9][0-9]*\.[0-9]"') do call :card %%A %%B
if %DRIVER% lss 528 (
    echo svd-ui: NVIDIA's driver %DRIVER% is older than any CUDA build of this torch takes. Update it to 580 or newer and run this again.
    exit /b 0
)
if %NEWEST% lss 500 exit /b 0
set "BUILD=cu126"
if %NEWEST% gtr 900 set "BUILD=cu130"
if %DRIVER% geq 580 if %OLDEST% geq 705 set "BUILD=cu130"
if %NEWEST% gtr 900 if %DRIVER% lss 580 echo svd-ui: This card needs NVIDIA's driver 580 or newer, %DRIVER% is installed: update it, or clips are made on the CPU.
exit /b 0

:card
set /a CAPABILITY=%1*100+%2
if not defined SEEN set "OLDEST=%CAPABILITY%" & set "NEWEST=%CAPABILITY%" & set "SEEN=1"
if %CAPABILITY% lss %OLDEST% set "OLDEST=%CAPABILITY%"
if %CAPABILITY% gtr %NEWEST% set "NEWEST=%CAPABILITY%"
exit /b 0
